rule train_lshvec:
    input:
        reads=get_all_read_files(),
        summaries=expand("reads/{sample}/reads.json", sample=SAMPLES),
        indexes=expand("reads/{sample}/index", sample=SAMPLES),
        script=str(BASEDIR / "scripts/train_lshvec.py"),
        code=get_code("embedders", "letters", "nucleotides", "reads"),
    output:
        model="models/lshvec.safetensors",
    log:
        "logs/train_lshvec/lshvec.log",
    benchmark:
        "logs/train_lshvec/lshvec.benchmark.tsv"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="12h",
    params:
        lshvec=config["embedder"]["lshvec"],
    conda:
        "../envs/train.yaml"
    message:
        "Training lshvec on the first reads of all samples"
    shell:
        "python {input.script:q} --reads {input.summaries} --out {output.model} --k {params.lshvec[k]}"
        " --bits {params.lshvec[bits]} --bases {params.lshvec[bases]} --epochs {params.lshvec[epochs]}"
        " --seed {params.lshvec[seed]} 2>&1 | tee {log}"
