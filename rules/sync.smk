rule sync_results:
    input:
        "results/report.html",
        "results/ro-crate-metadata.json",
        get_bins(),
        script=str(BASEDIR / "scripts/sync_results.py"),
        code=get_code("storage"),
    output:
        receipt="synced/receipt.json",
    log:
        "logs/sync_results/results.log",
    benchmark:
        "logs/sync_results/results.benchmark.tsv"
    threads: 4
    resources:
        # Only a profile that names a place has this job on the plan.
        target="none",
        mem_mb=1000,
        runtime="4h",
    conda:
        "../envs/stage.yaml"
    message:
        "Copying the results to {resources.target}"
    shell:
        "python {input.script:q} --results results --target {resources.target:q} --receipt {output.receipt}"
        " --streams {threads} 2>&1 | tee {log}"
