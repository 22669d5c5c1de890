rule report:
    input:
        samples=config["samples"],
        references=config["references"],
        fasta=get_reference_files(),
        truths=get_truths(),
        reads=expand("reads/{sample}/reads.json", sample=SAMPLES),
        shards=expand("shards/{sample}/manifest.json", sample=SAMPLES),
        clusters=expand("results/{sample}/cluster/clusters.h5", sample=SAMPLES),
        assignments=expand("results/{sample}/cluster/assignments.parquet", sample=SAMPLES),
        taxa=expand("results/{sample}/taxa.tsv", sample=SAMPLES),
        profiles=expand("results/{sample}/profile.tsv", sample=SAMPLES),
        binnings=expand("results/{sample}/binning.tsv", sample=SAMPLES),
        genomes=expand("results/{sample}/genomes.tsv", sample=get_samples_with_truth()),
        strata=expand("results/{sample}/strata.tsv", sample=get_samples_with_truth()),
        evaluations=expand("results/{sample}/evaluation.tsv", sample=get_samples_with_truth()),
        script=str(BASEDIR / "scripts/write_report.py"),
        code=get_code("report", "formats", "reads", "results", "shards", "taxonomy"),
    output:
        html=report("results/report.html", caption="../docs/captions/report.rst", category="Report"),
        crate="results/ro-crate-metadata.json",
        summary="results/summary.tsv",
    log:
        "logs/report/report.log",
    benchmark:
        "logs/report/report.benchmark.tsv"
    threads: 4
    resources:
        mem_mb=6000,
        runtime="1h",
    params:
        config=get_resolved_config(),
    conda:
        "../envs/report.yaml"
    message:
        "Writing the report"
    shell:
        "python {input.script:q} --samples {input.samples:q} --config <(printf %s {params.config:q}) --results results"
        " --reads reads --shards shards --logs logs --out {output.html} --crate {output.crate}"
        " --summary {output.summary} --processes {threads} 2>&1 | tee {log}"


onsuccess:
    state.add_figures_to_benchmarks(SAMPLES)


# A sample that cannot be used withholds nothing from the others: what they have is reported, and it is named.
onerror:
    state.add_figures_to_benchmarks(SAMPLES)
    shell(
        "python {report_script:q} --samples {config[samples]:q} --config <(printf %s {resolved:q}) --results results"
        " --reads reads --shards shards --logs logs --out results/partial-report.html"
        " --crate results/partial-ro-crate.json --summary results/partial-summary.tsv --partial || true",
        report_script=str(BASEDIR / "scripts/write_report.py"),
        resolved=get_resolved_config(),
    )
