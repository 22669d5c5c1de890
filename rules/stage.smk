rule stage:
    input:
        manifest=get_manifest,
        script=str(BASEDIR / "scripts/stage_shards.py"),
        code=get_code("shards"),
    output:
        # The shards take room on the fast file system only as long as a job needs them, or always with --notemp.
        staged=temp(directory("staged/{sample}")),
    log:
        "logs/stage/{sample}.log",
    benchmark:
        "logs/stage/{sample}.benchmark.tsv"
    threads: 2
    resources:
        # Where the shards come from is the profile's: copy, import or in-place; only import reads data_repository.
        staging="copy",
        data_repository="none",
        mem_mb=500,
        runtime="4h",
    conda:
        "../envs/stage.yaml"
    message:
        "Staging the shards of sample {wildcards.sample} for the MPI job: {resources.staging}"
    shell:
        "python {input.script:q} --manifest {input.manifest} --out {output.staged} --way {resources.staging}"
        " --data-repository {resources.data_repository:q} --streams {threads} 2>&1 | tee {log}"
