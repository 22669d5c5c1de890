# From raw reads to a labelled community. Follow the includes: they stand in the order of the data.
#
#   .venv/bin/snakemake --profile profiles/local --directory DIR --config samples=FILE references=FILE

from snakemake.utils import min_version

min_version("9.27")


configfile: f"{workflow.basedir}/config/config.yaml"


include: "rules/common.smk"
include: "rules/fetch.smk"


if config["embedder"]["name"] == "lshvec":

    include: "rules/train.smk"


include: "rules/embed.smk"
include: "rules/stage.smk"
include: "rules/cluster.smk"
include: "rules/label.smk"
include: "rules/report.smk"
include: "rules/sync.smk"


localrules:
    all,


report: "docs/captions/workflow.rst"


rule all:
    default_target: True
    input:
        "results/report.html",
        "results/ro-crate-metadata.json",
        get_bins(),
        get_receipt(),
