rule download:
    input:
        script=str(BASEDIR / "scripts/download_reads.py"),
    output:
        lanes="downloads/{sample}/lanes.json",
    log:
        "logs/download/{sample}.log",
    benchmark:
        "logs/download/{sample}.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=500,
        runtime="1d",
    params:
        out=subpath(output.lanes, parent=True),
        platform=get_platform,
        lanes=get_table_lanes,
    conda:
        "../envs/download.yaml"
    message:
        "Downloading the reads of sample {wildcards.sample}"
    shell:
        "python {input.script:q} --sample {wildcards.sample} --platform {params.platform} {params.lanes}"
        " --out {params.out} 2>&1 | tee {log}"


rule clean:
    input:
        reads=get_raw_files,
        genomes=get_genomes_to_remove,
        script=str(BASEDIR / "scripts/clean_reads.py"),
        code=get_code("reads", "nucleotides"),
    output:
        lanes="cleaned/{sample}/lanes.json",
        reads=directory("cleaned/{sample}/reads"),
    log:
        "logs/clean/{sample}.log",
    benchmark:
        "logs/clean/{sample}.benchmark.tsv"
    threads: 4
    resources:
        mem_mb=get_clean_memory,
        runtime="12h",
    params:
        platform=get_platform,
        lanes=get_raw_lanes,
        options=get_cleaning_options,
        versions=get_object_versions,
    conda:
        "../envs/clean.yaml"
    message:
        "Cleaning the reads of sample {wildcards.sample}"
    shell:
        "python {input.script:q} --sample {wildcards.sample} --platform {params.platform} {params.lanes}"
        " {params.options} --out {output.reads} --lanes-out {output.lanes} --threads {threads} 2>&1 | tee {log}"


rule fetch:
    input:
        reads=get_read_files,
        script=str(BASEDIR / "scripts/fetch_reads.py"),
        code=get_code("reads", "nucleotides"),
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
        lanes=get_lanes,
        shard_bases=config["shards"]["bases"],
        versions=get_object_versions,
    conda:
        "../envs/fetch.yaml"
    message:
        "Checking and counting the reads of sample {wildcards.sample}"
    shell:
        "python {input.script:q} --sample {wildcards.sample} --platform {params.platform} {params.lanes}"
        " --out {params.out} --shard-bases {params.shard_bases} --threads {threads} 2>&1 | tee {log}"
