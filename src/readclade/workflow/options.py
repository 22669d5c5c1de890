"""What rules take from the checked configuration and tables: files, and options of the scripts.

rules/common.smk asks for it in getters of one line.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from readclade.embedders import hub
from readclade.inputs import tables
from readclade.inputs.addresses import is_downloaded, is_remote
from readclade.inputs.configuration import check_braces, check_config, check_genomes
from readclade.inputs.lanes import has_lost_files
from readclade.inputs.tables import Reference, Sample
from readclade.storage import locations


@dataclass(frozen=True)
class Options:
    """A run that was asked for.

    Attributes:
        config: with every default filled in.
        samples: by name.
        model: files of a network in a folder of the user's own; none elsewhere.
        objects: what lies on S3.
    """

    config: dict[str, Any]
    samples: dict[str, Sample]
    references: list[Reference]
    model: list[Path]
    objects: locations.Lookup

    @classmethod
    def read(cls, config: dict[str, Any], ask_s3: bool) -> "Options":
        """Check a configuration, and read the tables that it names.

        Args:
            config: what the user gave.
            ask_s3: whether to look for the reads on S3 at once.

        Raises:
            ReadcladeError: something in them cannot be used.
        """
        checked = check_config(config)
        samples = tables.read_samples(checked["samples"], ask_s3)
        references = tables.read_references(checked["references"])
        model = hub.find_named(checked["embedder"]["name"], checked["embedder"]["weights"])
        check_genomes(checked["cleaning"]["remove"])
        lanes = [lane for sample in samples.values() for lane in sample.lanes]
        entries = [path for lane in lanes for path in lane.paths if not is_remote(path)]
        truths = [sample.truth for sample in samples.values() if sample.truth]
        tables_given = [checked["samples"], checked["references"], checked["cleaning"]["remove"]]
        check_braces([*tables_given, *entries, *truths, *(reference.fasta for reference in references)])
        return cls(checked, samples, references, model, locations.Lookup(tables.PARSE_PATIENCE_S))

    # ---- reads

    def list_cleaning_options(self, sample: str) -> list[str]:
        """Return what is done to the reads of a sample as options; none where nothing is."""
        cleaning = self.config["cleaning"]
        options: list[str] = []
        # The basecallers of long reads cut their adapters.
        if self.samples[sample].platform == "illumina" and (cleaning["adapters"] != "none" or cleaning["min_quality"]):
            options += ["--adapters", cleaning["adapters"]] if cleaning["adapters"] != "none" else []
            options += ["--min-quality", str(cleaning["min_quality"]), "--min-length", str(cleaning["min_length"])]
        options += ["--mask-low-complexity"] if cleaning["mask_low_complexity"] else []
        options += ["--remove", cleaning["remove"]] if cleaning["remove"] else []
        return options

    def list_genomes_to_remove(self) -> list[str]:
        """Return the FASTA file whose reads cleaning drops, if any."""
        return [self.config["cleaning"]["remove"]] if self.config["cleaning"]["remove"] else []

    def find_lanes_file(self, sample: str, is_raw: bool = False) -> str | None:
        """Return what lists a sample's downloaded or, unless the raw ones are wanted, cleaned reads, if any."""
        if not is_raw and self.list_cleaning_options(sample):
            return f"cleaned/{sample}/lanes.json"
        return f"downloads/{sample}/lanes.json" if any(map(is_downloaded, self._list_entries(sample))) else None

    def list_read_files(self, sample: str, is_raw: bool = False) -> list[str]:
        """Return the FASTQ files of a sample that Snakemake can see, and what lists those that it cannot."""
        lanes = self.find_lanes_file(sample, is_raw)
        if lanes and lanes != self.find_lanes_file(sample, is_raw=True):
            return [lanes]
        return [path for path in self._list_entries(sample) if not is_remote(path)] + ([lanes] if lanes else [])

    def list_lost_lanes(self, sample: str) -> list[str]:
        """Return the lists of a sample's reads of which files were lost: they have to be made again."""
        lost = []
        for is_raw in (False, True):
            lanes = self.find_lanes_file(sample, is_raw)
            if lanes is None or (Path(lanes).exists() and not has_lost_files(Path(lanes))):
                break  # raw files may go once the cleaned ones are there
            if Path(lanes).exists():
                lost.append(lanes)
        return lost

    def list_object_versions(self, sample: str) -> list[str]:
        """Return each FASTQ file of a sample on S3 with its version when the workflow was parsed."""
        found = {path: self.objects.find(path) for path in self._list_entries(sample) if locations.is_s3(path)}
        return [f"{path} {info and info.etag}" for path, info in found.items()]

    def join_table_lanes(self, sample: str) -> str:
        """Return the options that name the lanes of a sample as the table does, quoted for the shell."""
        lanes = self.samples[sample].lanes
        return " ".join(shlex.join(["--lane", lane.fq1] + ([lane.fq2] if lane.fq2 else [])) for lane in lanes)

    def join_lanes(self, sample: str, is_raw: bool = False) -> str:
        """Return the options that name the lanes of a sample as they are read, quoted for the shell."""
        lanes = self.find_lanes_file(sample, is_raw)
        return shlex.join(["--lanes", lanes]) if lanes else self.join_table_lanes(sample)

    def _list_entries(self, sample: str) -> list[str]:
        return [path for lane in self.samples[sample].lanes for path in lane.paths]

    # ---- embedding

    def list_model_files(self) -> list[str]:
        """Return the files whose change embeds again: lshvec's model, which is trained here for all samples and the
        references, or the model of a network in a folder of the user's own; nothing elsewhere.
        """
        return ["models/lshvec.safetensors"] if self.is_trained else list(map(str, self.model))

    @property
    def is_trained(self) -> bool:
        """Whether the embedder is trained on the samples."""
        return self.config["embedder"]["name"] == "lshvec"

    @property
    def has_network(self) -> bool:
        """Whether the embedder is a network."""
        return self.config["embedder"]["name"] in hub.MODELS

    def join_embedder_options(self) -> str:
        """Return the options that choose the embedder, quoted for the shell; settings of others change nothing."""
        embedder = self.config["embedder"]
        names = {"kmer": ["k"], "lshvec": []}.get(embedder["name"], ["weights", "precision", "window_bp", "strands"])
        options = {"--embedder": embedder["name"]} | {f"--{name.replace('_', '-')}": embedder[name] for name in names}
        if self.is_trained:
            options["--model"] = self.list_model_files()[0]
        return shlex.join(str(word) for option in options.items() for word in option)

    # ---- truths

    def list_samples_with_truth(self) -> list[str]:
        """Return the names of the samples whose true origin is known."""
        return [name for name, sample in self.samples.items() if sample.truth]

    def list_truths(self) -> list[str]:
        """Return the files with the true origin of the reads."""
        return [sample.truth for sample in self.samples.values() if sample.truth]
