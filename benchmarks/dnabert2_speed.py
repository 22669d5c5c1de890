"""Measure how fast dnabert2 embeds reads, against the rate at which this machine multiplies matrices.

Example, from the repository root:
    PYTHONPATH=src .venv/bin/python benchmarks/dnabert2_speed.py --reads 200 --threads 1

Takes a GPU where there is one, else the CPU. The weights are random, of the real size (117 million parameters), which
says nothing about the vectors and all about the time; the reads are the demo's, as single reads on one strand. "bare
loop" is the embedder as the workflow calls it, tokenizing included. "ceiling" is the time of the network's matrix
products alone, each of its own shape and measured in this run: the ratio says what everything else costs.
"""

import argparse
import gzip
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import torch
from safetensors.torch import save_file

from readclade.dnabert2 import Network, NetworkConfig
from readclade.dnabert_embedder import DnabertEmbedder, choose_precision
from readclade.windows import load_tokenizer, tokenize

ROOT = Path(__file__).parents[1]
READS = ROOT / "demo/reads/pairs_1.fastq.gz"
TOKENIZER = ROOT / "tests/data/dnabert2/tokenizer.json"
LAYER_SHAPES = ((768, 2304), (768, 768), (768, 6144), (3072, 768))  # of Wqkv, dense, gated_layers, wo
LAYERS = 12


def take_records(count: int) -> list[str]:
    """Return `count` FASTQ records of four lines each, the demo's over and over."""
    lines = gzip.decompress(READS.read_bytes()).decode().splitlines(keepends=True)
    records = ["".join(lines[i : i + 4]) for i in range(0, len(lines), 4)]
    return [records[i % len(records)] for i in range(count)]


def write_model(folder: Path) -> None:
    """Write a model of the real size with random weights."""
    torch.manual_seed(0)
    save_file(Network(NetworkConfig()).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({}))
    shutil.copy(TOKENIZER, folder / "tokenizer.json")


def measure(work, device: torch.device, repeats: int) -> float:
    """Return the seconds of the fastest of several runs, the first of which warms up."""
    best = float("inf")
    for _ in range(max(2, repeats)):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - started)
    return best


def measure_products(tokens: int, device: torch.device, dtype: torch.dtype, repeats: int) -> float:
    """Return the seconds of all linear maps of the network for a batch of that many tokens."""
    pairs = [
        (torch.randn(tokens, rows, device=device, dtype=dtype), torch.randn(columns, rows, device=device, dtype=dtype))
        for rows, columns in LAYER_SHAPES
    ]

    def work():
        for x, weight in pairs:
            torch.nn.functional.linear(x, weight)

    return LAYERS * measure(work, device, repeats)


def main() -> None:
    """Measure and print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, help="default: 200,000 on a GPU, 200 for each thread on a CPU")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of the CPU (default: %(default)s)")
    parser.add_argument(
        "--precisions", nargs="+", choices=["float32", "bfloat16", "float16"], help="default: auto's, float32"
    )
    parser.add_argument("--repeats", type=int, default=3, help="the fastest counts (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    auto = str(choose_precision("auto", device)).removeprefix("torch.")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.cpu.get_capabilities()["cpu_name"]
    print(f"device\t{name}\t({arguments.threads} threads; precision auto is {auto})")
    records = take_records(arguments.reads or (200_000 if device.type == "cuda" else 200 * arguments.threads))
    megabytes = sum(map(len, records)) / 1e6
    texts = [record.split("\n")[1] for record in records]
    reads = pa.array(texts)

    tokenizer = load_tokenizer(TOKENIZER)
    many = [record.split("\n")[1] for record in take_records(20_000)]
    seconds = measure(lambda: tokenize(tokenizer, many), torch.device("cpu"), arguments.repeats)
    print(f"tokenizing\t{len(many) / seconds:,.0f} reads/s\t(all cores)")
    tokens = sum(len(ids) for ids in tokenize(tokenizer, texts))
    print(f"tokens of a read\t{tokens / len(texts):.1f}")

    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        for precision in arguments.precisions or list(dict.fromkeys([auto, "float32"])):
            embedder = DnabertEmbedder("dnabert2", folder, precision, strands="one")
            seconds = measure(lambda embedder=embedder: embedder.embed(reads), device, arguments.repeats)
            batch = min(tokens, embedder.batch_tokens)
            product = measure_products(batch, device, embedder.dtype, arguments.repeats)
            flops = LAYERS * sum(2 * batch * rows * columns for rows, columns in LAYER_SHAPES)
            ceiling = product / batch * tokens
            rate = megabytes / seconds
            print(f"{precision}: bare loop\t{len(texts) / seconds:,.1f} reads/s\t({rate:.3f} MB/s of FASTQ)")
            print(f"{precision}: ceiling\t{len(texts) / ceiling:,.1f} reads/s\t({flops / product / 1e9:,.1f} GFLOP/s)")
            print(f"{precision}: bare loop against ceiling\t{ceiling / seconds:.2f}")


if __name__ == "__main__":
    main()
