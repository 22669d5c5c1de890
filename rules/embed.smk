rule embed:
    input:
        reads=get_read_files,
        summary=get_summary,
        index="reads/{sample}/index",
        script=str(BASEDIR / "scripts/embed_fragments.py"),
        code=get_code("embed_fragments"),
    output:
        manifest="shards/{sample}/manifest.json",
    log:
        "logs/embed/{sample}.log",
    benchmark:
        "logs/embed/{sample}.benchmark.tsv"
    threads: 8
    resources:
        mem_mb=get_embed_memory,
        runtime="12h",
        ray_address="local",
        actor_gpus=0,
    params:
        out=subpath(output.manifest, parent=True),
        embedder=config["embedder"],
    conda:
        "../envs/embed.yaml"
    message:
        "Embedding the fragments of sample {wildcards.sample} with {params.embedder[name]}"
    shell:
        "python {input.script:q} --reads {input.summary} --out {params.out} --embedder {params.embedder[name]}"
        " --k {params.embedder[k]} --weights {params.embedder[weights]:q} --precision {params.embedder[precision]}"
        " --window-bp {params.embedder[window_bp]} --strands {params.embedder[strands]} --d {params.embedder[d]}"
        " --actors {threads} --actor-gpus {resources.actor_gpus} --address {resources.ray_address} 2>&1 | tee {log}"
