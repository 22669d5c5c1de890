rule cluster:
    input:
        manifest="staged/{sample}/manifest.json",
        script=str(BASEDIR / "scripts/cluster_fragments.py"),
        code=get_code("cluster_fragments"),
    output:
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
    threads: 1
    resources:
        # The launcher and the number of ranks are the profile's; the result does not depend on them.
        mpi="mpiexec",
        tasks=1,
        mem_mb=get_cluster_memory,
        runtime="12h",
    params:
        out=subpath(output.clusters, parent=True),
        clustering=config["clustering"],
    conda:
        "../envs/cluster.yaml"
    message:
        "Clustering the fragments of sample {wildcards.sample} on {resources.tasks} MPI ranks"
    shell:
        "{resources.mpi} -n {resources.tasks} python -m mpi4py {input.script:q} --manifest {input.manifest}"
        " --out {params.out} --algorithm {params.clustering[algorithm]} --k {params.clustering[k]}"
        " --seed {params.clustering[seed]} --directions {params.clustering[directions]}"
        " --seedings {params.clustering[seedings]} --ranks {resources.tasks} 2>&1 | tee {log}"


rule write_bins:
    input:
        reads=get_read_files,
        summary="reads/{sample}/reads.json",
        assignments="results/{sample}/cluster/assignments.parquet",
        script=str(BASEDIR / "scripts/write_bins.py"),
        code=get_code("write_bins"),
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
