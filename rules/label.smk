rule index_references:
    input:
        table=config["references"],
        fasta=get_reference_files(),
        model=get_model(),
        script=str(BASEDIR / "scripts/index_references.py"),
        code=get_code("labelling", "dnabert2", "embedders", "letters", "nucleotides", "prefetch"),
    output:
        index="references/index.parquet",
    log:
        "logs/index_references/index.log",
    benchmark:
        "logs/index_references/index.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="4h",
    params:
        options=get_embedder_options(),
    conda:
        get_env("label")
    message:
        "Embedding the reference genomes"
    shell:
        "python {input.script:q} --references {input.table:q} {params.options} --out {output.index} 2>&1 | tee {log}"


rule label:
    input:
        staged="staged/{sample}",
        assignments="results/{sample}/cluster/assignments.parquet",
        clusters="results/{sample}/cluster/clusters.h5",
        index="references/index.parquet",
        script=str(BASEDIR / "scripts/label_clusters.py"),
        code=get_code(
            "labelling",
            "dnabert2",
            "embedders",
            "hashing",
            "letters",
            "nucleotides",
            "prefetch",
            "reads",
            "results",
            "shards",
            "taxonomy",
        ),
    output:
        taxa=report(
            "results/{sample}/taxa.tsv",
            caption="../docs/captions/taxa.rst",
            category="Community",
            subcategory="{sample}",
        ),
        binning=report(
            "results/{sample}/binning.tsv",
            caption="../docs/captions/binning.rst",
            category="Community",
            subcategory="{sample}",
        ),
        profile=report(
            "results/{sample}/profile.tsv",
            caption="../docs/captions/profile.rst",
            category="Community",
            subcategory="{sample}",
        ),
    log:
        "logs/label/{sample}.log",
    benchmark:
        "logs/label/{sample}.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=4000,
        runtime="4h",
    params:
        out=subpath(output.taxa, parent=True),
        labelling=config["labelling"],
    conda:
        "../envs/label.yaml"
    message:
        "Naming the clusters of sample {wildcards.sample}"
    shell:
        "python {input.script:q} --manifest {input.staged}/manifest.json --assignments {input.assignments}"
        " --clusters {input.clusters} --references {input.index} --out {params.out}"
        " --neighbours {params.labelling[neighbours]} --support {params.labelling[support]} 2>&1 | tee {log}"


rule evaluate:
    input:
        truth=get_truth,
        references=config["references"],
        assignments="results/{sample}/cluster/assignments.parquet",
        binning="results/{sample}/binning.tsv",
        taxa="results/{sample}/taxa.tsv",
        script=str(BASEDIR / "scripts/evaluate_clusters.py"),
        code=get_code("evaluation", "reads", "results", "taxonomy"),
    output:
        evaluation=report(
            "results/{sample}/evaluation.tsv",
            caption="../docs/captions/evaluation.rst",
            category="Evaluation",
            subcategory="{sample}",
        ),
        genomes="results/{sample}/genomes.tsv",
        strata="results/{sample}/strata.tsv",
    log:
        "logs/evaluate/{sample}.log",
    benchmark:
        "logs/evaluate/{sample}.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="1h",
    conda:
        "../envs/label.yaml"
    message:
        "Comparing the clusters of sample {wildcards.sample} with the truth"
    shell:
        "python {input.script:q} --sample {wildcards.sample} --truth {input.truth:q} --binning {input.binning}"
        " --assignments {input.assignments} --taxa {input.taxa} --references {input.references:q}"
        " --out {output.evaluation} --genomes {output.genomes} --strata {output.strata} 2>&1 | tee {log}"
