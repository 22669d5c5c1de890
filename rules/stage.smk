rule stage:
    input:
        manifest=get_manifest,
        script=str(BASEDIR / "scripts/stage_shards.py"),
        code=get_code("stage_shards"),
    output:
        manifest="staged/{sample}/manifest.json",
    log:
        "logs/stage/{sample}.log",
    benchmark:
        "logs/stage/{sample}.benchmark.tsv"
    threads: 2
    resources:
        mem_mb=500,
        runtime="4h",
    params:
        out=subpath(output.manifest, parent=True),
    conda:
        "../envs/stage.yaml"
    message:
        "Copying the shards of sample {wildcards.sample} to the file system of the MPI job"
    shell:
        "python {input.script:q} --manifest {input.manifest} --out {params.out} --streams {threads} 2>&1 | tee {log}"
