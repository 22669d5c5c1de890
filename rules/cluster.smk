rule cluster:
    input:
        staged="staged/{sample}",
        script=str(BASEDIR / "scripts/cluster_fragments.py"),
        code=get_code("clustering", "embedders", "hashing", "letters", "nucleotides", "reads", "results", "shards"),
    output:
        get_overlaps(),
        clusters="results/{sample}/cluster/clusters.h5",
        assignments=report(
            "results/{sample}/cluster/assignments.parquet",
            caption="../docs/captions/clusters.rst",
            category="Clusters",
            subcategory="{sample}",
        ),
        binning="results/{sample}/cluster/binning.tsv",
    log:
        "logs/cluster/{sample}.log",
    benchmark:
        "logs/cluster/{sample}.benchmark.tsv"
    # Before what takes one core: that then runs side by side.
    priority: 1
    threads: 1
    resources:
        # The launcher and the ranks on each node are the profile's; the result does not depend on them.
        mpi="mpiexec",
        nodes=1,
        tasks_per_node=1,
        mem_mb=get_cluster_memory,
        rank_gb=4,
        runtime="12h",
    params:
        out=subpath(output.clusters, parent=True),
        ranks=get_ranks,
        clustering=config["clustering"],
        overlaps="--overlaps" if config["clustering"]["overlaps"] else "",
    conda:
        "../envs/cluster.yaml"
    message:
        "Clustering the fragments of sample {wildcards.sample} on {params.ranks} MPI ranks"
    shell:
        "{resources.mpi} -n {params.ranks} python -m mpi4py {input.script:q} --manifest {input.staged}/manifest.json"
        " --out {params.out} --algorithm {params.clustering[algorithm]} --k {params.clustering[k]}"
        " --seed {params.clustering[seed]} --directions {params.clustering[directions]}"
        " --seedings {params.clustering[seedings]} --ranks {params.ranks}"
        " --memory {resources.rank_gb} {params.overlaps} 2>&1 | tee {log}"


rule write_bins:
    input:
        reads=get_read_files,
        summary="reads/{sample}/reads.json",
        assignments="results/{sample}/cluster/assignments.parquet",
        script=str(BASEDIR / "scripts/write_bins.py"),
        code=get_code("reads", "results"),
    output:
        bins=directory("results/{sample}/bins"),
    log:
        "logs/write_bins/{sample}.log",
    benchmark:
        "logs/write_bins/{sample}.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=1000,
        runtime="12h",
    conda:
        "../envs/embed.yaml"
    message:
        "Writing the reads of each cluster of sample {wildcards.sample}"
    shell:
        "python {input.script:q} --reads {input.summary} --assignments {input.assignments} --out {output.bins}"
        " 2>&1 | tee {log}"
