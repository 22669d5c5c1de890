rule fetch:
    input:
        reads=get_read_files,
        script=str(BASEDIR / "scripts/fetch_reads.py"),
        code=get_code("fetch_reads"),
    output:
        summary=report(
            "reads/{sample}/reads.json",
            caption="../docs/captions/reads.rst",
            category="Reads",
            subcategory="{sample}",
        ),
        index=directory("reads/{sample}/index"),
    log:
        "logs/fetch/{sample}.log",
    benchmark:
        "logs/fetch/{sample}.benchmark.tsv"
    threads: 2
    resources:
        mem_mb=1000,
        runtime="2h",
    params:
        out=subpath(output.summary, parent=True),
        platform=get_platform,
        lanes=get_lane_arguments,
        shard_bases=config["shards"]["bases"],
        versions=get_object_versions,
    conda:
        "../envs/fetch.yaml"
    message:
        "Checking and counting the reads of sample {wildcards.sample}"
    shell:
        "python {input.script:q} --sample {wildcards.sample} --platform {params.platform} {params.lanes}"
        " --out {params.out} --shard-bases {params.shard_bases} --threads {threads} 2>&1 | tee {log}"
