rule embed:
    input:
        reads=get_read_files,
        summary=get_summary,
        index="reads/{sample}/index",
        model=get_model(),
        script=str(BASEDIR / "scripts/embed_fragments.py"),
        code=get_code("embedding", "dnabert2", "embedders", "letters", "nucleotides", "prefetch", "reads", "shards"),
    output:
        manifest="shards/{sample}/manifest.json",
    log:
        "logs/embed/{sample}.log",
        metrics="logs/embed/{sample}.metrics.tsv",
    benchmark:
        "logs/embed/{sample}.benchmark.tsv"
    # Before what takes one core: that then runs side by side.
    priority: 1
    threads: 8
    resources:
        mem_mb=get_embed_memory,
        runtime="12h",
        ray_address="local",
        actors=get_actors,
        actor_gpus=0,
        shard_store="local",
    params:
        script=get_embed_script,
        out=subpath(output.manifest, parent=True),
        embedder=config["embedder"]["name"],
        options=get_embedder_options(),
        d=config["embedder"]["d"],
        versions=get_object_versions,
    conda:
        get_env("embed")
    message:
        "Embedding the fragments of sample {wildcards.sample} with {params.embedder}"
    shell:
        "python {params.script:q} --reads {input.summary} --out {params.out} --store {resources.shard_store:q}"
        " {params.options} --d {params.d} --actors {resources.actors} --actor-gpus {resources.actor_gpus}"
        " --address {resources.ray_address:q} --metrics {log.metrics} 2>&1 | tee -i {log[0]}"
