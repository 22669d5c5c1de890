"""Measure how fast dnabert2 embeds 150-base reads, against the rate at which this machine multiplies matrices.

Example, from the repository root:
    PYTHONPATH=src .venv/bin/python benchmarks/dnabert2_speed.py --reads 200

Needs `make networks` or `make networks-gpu`. Takes a GPU where there is one, else one core of the CPU. The weights are
random, of the real size (117 million parameters), which says nothing about the vectors and all about the time; the
reads are the demo's, as single reads on one strand. Lines of `figure, value, remark`:
  products   the network's matrix products alone, each of its own shape
  squares    matrix products of a size that suits the device: what "the matrix rate" is on a GPU
  embedder   reads through the embedder, tokenizing included; in turns with the products, so that each ratio is of one
             moment; on a CPU by CPU seconds
  bare loop  shards made without Ray: reading, embedding, projection, writing; by the clock, as what follows
  actors     the same on Ray, as the rule runs it: one actor, and on a GPU several that share it; their loading apart
"""

import argparse
import gzip
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import torch
from safetensors.torch import save_file

from readclade.dnabert2.network import Network, NetworkConfig, read_config
from readclade.embedders.dnabert import DnabertEmbedder, choose_precision
from readclade.embedders.windows import load_tokenizer, tokenize
from readclade.embedding.job import ShardEmbedder, embed_reads
from readclade.inputs.tables import Lane
from readclade.reads.summary import summarise_reads

ROOT = Path(__file__).parents[1]
READS = ROOT / "demo/reads/pairs_1.fastq.gz"
TOKENIZER = ROOT / "tests/data/dnabert2/tokenizer.json"
SHARDS = 8
_SQUARE = {"cpu": 1024, "cuda": 8192}


def take_records(count: int) -> list[str]:
    """Return `count` FASTQ records of four lines each: the demo's over and over, cut and joined elsewhere each time.

    So no two reads are the same: a tokenizer remembers the words that it has seen.
    """
    lines = gzip.decompress(READS.read_bytes()).decode().splitlines()
    reads, qualities = lines[1::4], lines[3::4]
    records = []
    for i in range(count):
        copy, number = divmod(i, len(reads))
        read = reads[number]
        cut = copy % len(read)
        records.append(f"@r{i}\n{read[cut:]}{read[:cut]}\n+\n{qualities[number]}\n")
    return records


def write_model(folder: Path, layers: int) -> None:
    """Write a model with random weights, of the real size when it has 12 layers."""
    torch.manual_seed(0)
    config = {"num_hidden_layers": layers}
    save_file(Network(NetworkConfig(**config)).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    shutil.copy(TOKENIZER, folder / "tokenizer.json")


def measure(work, device: torch.device) -> float:
    """Return the seconds that work takes: the GPU's by the clock, else the CPU seconds of all threads per thread."""
    if device.type == "cpu":  # other work of the machine does not count
        started = time.process_time()
        work()
        return (time.process_time() - started) / torch.get_num_threads()
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    torch.cuda.synchronize(device)
    return time.perf_counter() - started


class Products:
    """Matrix products x @ w.T of given (rows, inner, columns)."""

    def __init__(self, sizes: list[tuple[int, int, int]], device: torch.device, dtype: torch.dtype):
        self._device = device
        self._pairs = [
            (
                torch.randn(rows, inner, device=device, dtype=dtype),
                torch.randn(columns, inner, device=device, dtype=dtype),
            )
            for rows, inner, columns in sizes
        ]
        self._flops = sum(2 * rows * inner * columns for rows, inner, columns in sizes)

    def measure_rate(self) -> float:
        """Return FLOP/s, over as many rounds as take half a second."""

        def work():
            for x, weight in self._pairs:
                torch.nn.functional.linear(x, weight)

        once = measure(work, self._device)
        rounds = max(1, int(0.5 / once))
        return rounds * self._flops / measure(lambda: [work() for _ in range(rounds)], self._device)


def get_layer_sizes(config: NetworkConfig, tokens: int) -> list[tuple[int, int, int]]:
    """Return (tokens, inner, columns) of the products of one layer: Wqkv, dense, gated_layers, wo."""
    hidden, middle = config.hidden_size, config.intermediate_size
    return [
        (tokens, hidden, 3 * hidden),
        (tokens, hidden, hidden),
        (tokens, hidden, 2 * middle),
        (tokens, middle, hidden),
    ]


def measure_network(precision: str, folder: Path, texts: list[str], tokens: float, turns: int, device: torch.device):
    """Measure the embedder and the matrix products in turns; print both.

    Returns:
        Reads a second, and the matrix rate in reads a second.
    """
    embedder = DnabertEmbedder("dnabert2", str(folder), precision, strands="one")
    config = read_config(folder / "config.json")
    flops = tokens * config.num_hidden_layers * sum(2 * i * c for _, i, c in get_layer_sizes(config, 1))  # of a read
    reads = pa.array(texts)
    batch = min(int(tokens * len(reads)), embedder.batch_tokens)
    products = Products(get_layer_sizes(config, batch), device, embedder.dtype)
    squares = Products([(_SQUARE[device.type],) * 3], device, embedder.dtype)
    embedder.embed(reads)  # kernels are chosen, memory is taken
    speeds, rates, square_rates = [], [], []
    for _ in range(turns):
        before = products.measure_rate()
        speeds.append(len(reads) / measure(lambda: embedder.embed(reads), device))
        rates.append((before + products.measure_rate()) / 2)  # before and after, as the machine may not be quiet
        square_rates.append(squares.measure_rate())
    ratios = sorted(speed * flops / rate for speed, rate in zip(speeds, rates, strict=True))
    speed, matrix_rate = statistics.median(speeds), statistics.median(square_rates)
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f} in {turns} turns"
    say(f"{precision} products", f"{statistics.median(rates) / 1e9:,.1f} GFLOP/s", f"batches of {batch} tokens")
    say(f"{precision} squares", f"{matrix_rate / 1e9:,.1f} GFLOP/s")
    say(f"{precision} embedder", f"{speed:,.1f} reads/s")
    say(f"{precision} embedder / products", f"{statistics.median(ratios):.2f}", spread)
    say(f"{precision} embedder / squares", f"{speed * flops / matrix_rate:.2f}")
    return speed, matrix_rate / flops


def measure_bare_loop(reads: Path, out: Path, parameters: dict, device: torch.device) -> float:
    """Return the reads a second of making shards in this process, by the clock as Ray's are."""
    loop = ShardEmbedder(str(reads), str(out), parameters)
    loop.make_shard(0)
    rates = []
    for index in (1, 2, 3):
        started = time.perf_counter()
        rows = loop.make_shard(index).rows
        rates.append(rows / (time.perf_counter() - started))
    return statistics.median(rates)


def measure_actors(reads: Path, out: Path, parameters: dict, actors: int, gpus: float, count: int) -> float:
    """Return the reads a second of actors at work: from when each has made a shard until all shards are there.

    Prints what the actors themselves counted, the first shards included.
    """
    metrics = out.with_suffix(".tsv")
    embed_reads(reads, out, "dnabert2", parameters, 32, actors, gpus=gpus, metrics=metrics)
    names, values = (line.split("\t") for line in metrics.read_text().splitlines())
    counted = dict(zip(names, values, strict=True))
    say(f"{actors} actor(s): GPU busy", counted["gpu_busy"], f"embedder busy: {counted['embedder_busy']}")
    # When each was written: Ray Data hands on what is done in bursts.
    seen = sorted(path.stat().st_mtime_ns for path in out.glob("*.parquet"))
    return count * (len(seen) - actors) / len(seen) / (seen[-1] - seen[actors - 1]) * 1e9


def say(figure: str, value: str, remark: str = "") -> None:
    """Print a line of the result as soon as it is known."""
    print(f"{figure}\t{value}\t{remark and f'({remark})'}", flush=True)


def main() -> None:
    """Measure and print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--reads", type=int, help="default: 3,400,000 on a GPU, in eight shards of the default size, 400 on a CPU"
    )
    parser.add_argument("--threads", type=int, help="of the CPU (default: 1 without a GPU, as an actor has, else all)")
    precisions = ["float32", "bfloat16", "float16"]
    parser.add_argument("--precisions", nargs="+", choices=precisions, help="default: auto's, and float32 on a CPU")
    parser.add_argument("--turns", type=int, default=5, help="of embedder and products (default: %(default)s)")
    parser.add_argument("--actors", type=int, default=2, help="that share a GPU (default: %(default)s)")
    parser.add_argument("--layers", type=int, default=12, help="fewer to try the command out (default: %(default)s)")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    threads = arguments.threads or (os.cpu_count() if on_gpu else 1)
    torch.set_num_threads(threads)
    os.environ.setdefault("RAYON_NUM_THREADS", str(threads))  # the tokenizer's
    auto = str(choose_precision("auto", device)).removeprefix("torch.")
    name = torch.cuda.get_device_name(device) if on_gpu else torch.cpu.get_capabilities()["cpu_name"]
    say("device", name, f"{threads} threads; precision auto is {auto}")
    records = take_records(arguments.reads or (3_400_000 if on_gpu else 400))
    texts = [record.split("\n")[1] for record in records[: 400_000 if on_gpu else 400]]
    megabytes = sum(map(len, records)) / len(records) / 1e6  # of FASTQ, for a read
    some = texts[:200_000]  # a turn takes a few seconds
    tokenizer = load_tokenizer(TOKENIZER)
    tokens = len(tokenize(tokenizer, some)[0]) / len(some)
    tokenized = len(texts) / measure(lambda: tokenize(tokenizer, texts), device)
    say("tokenizing", f"{tokenized:,.0f} reads/s", f"{tokens:.1f} tokens a read")

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_model(folder, arguments.layers)
        names = arguments.precisions or list(dict.fromkeys([auto] if on_gpu else [auto, "float32"]))
        found = {name: measure_network(name, folder, some, tokens, arguments.turns, device) for name in names}
        best = max(found, key=lambda name: found[name][0])
        say(f"{best} tokenizing / embedder", f"{tokenized / found[best][0]:,.1f}", "above 1: not the bottleneck")

        (folder / "reads.fastq").write_text("".join(records))
        lanes = [Lane(str(folder / "reads.fastq"), None)]
        summarise_reads("bench", "illumina", lanes, folder / "reads", -(-150 * len(records) // SHARDS))
        reads = folder / "reads/reads.json"
        parameters = {"weights": str(folder), "precision": best, "strands": "one"}
        torch.cuda.empty_cache()
        rates = {"one actor": measure_actors(reads, folder / "shards", parameters, 1, int(on_gpu), len(records))}
        rates["bare loop"] = measure_bare_loop(reads, folder / "shards", parameters, device)
        if on_gpu and arguments.actors > 1:
            torch.cuda.empty_cache()
            share = 1 / arguments.actors
            rate = measure_actors(reads, folder / "shared", parameters, arguments.actors, share, len(records))
            rates[f"{arguments.actors} actors"] = rate
    for name, rate in rates.items():
        say(f"{best} {name}", f"{rate:,.1f} reads/s", f"{rate * megabytes:.3f} MB/s of FASTQ")
        say(f"{best} {name} / squares", f"{rate / found[best][1]:.2f}")
    say(
        f"{best} one actor / bare loop",
        f"{rates['one actor'] / rates['bare loop']:.2f}",
        "above 0.90: Ray costs little",
    )


if __name__ == "__main__":
    main()
