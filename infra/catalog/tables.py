"""The tables of the catalog: their columns, by the names of Athena's types, and where their files lie.

`shards` are the shards of phase 1 as they are. The others are made of a run's results by write_tables.py, one file for
each sample, so that a new sample is there when its file is: nothing has to crawl or to be registered.
"""

# Of a sample's results: the file that each table is made of.
SOURCES = {"assignments": "cluster/assignments.parquet", "taxa": "taxa.tsv", "evaluation": "evaluation.tsv"}
COLUMNS = {
    "assignments": {
        "sample": "string",
        "fragment": "bigint",
        "name": "string",
        "group": "bigint",
        "cluster": "int",
        "distance": "float",
        "margin": "float",
    },
    "taxa": {
        "sample": "string",
        "cluster": "string",
        "size": "bigint",
        "bases": "bigint",
        "taxid": "int",
        "name": "string",
        "rank": "string",
        "lineage": "string",
        "confidence": "double",
        "second_best": "string",
    },
    "evaluation": {"sample": "string", "metric": "string", "value": "double"},
    "shards": {
        "fragment": "bigint",
        "name": "string",
        "sequence": "string",
        "mate": "string",
        "error_rate": "float",
        "embedding": "array<float>",
    },
}
# In the bucket for results, as `aws s3 sync tables s3://RESULTS_BUCKET/results/tables` lays them.
PREFIX = "results/tables"
# What each saved query answers, and the query.
QUERIES = {
    "profile": (
        "What each sample consists of, in percent of its fragments.",
        """
SELECT sample, name, rank, sum(size) AS fragments,
       round(100.0 * sum(size) / sum(sum(size)) OVER (PARTITION BY sample), 2) AS percent
FROM taxa
GROUP BY sample, name, rank
ORDER BY sample, fragments DESC, name
""",
    ),
    "quality": (
        "How well the clusters of each sample agree with the known genomes, where these are known.",
        """
SELECT sample,
       max(CASE WHEN metric = 'ari' THEN value END) AS ari,
       max(CASE WHEN metric = 'purity' THEN value END) AS purity,
       max(CASE WHEN metric = 'completeness' THEN value END) AS completeness,
       max(CASE WHEN metric = 'species_correct' THEN value END) AS species_correct
FROM evaluation
GROUP BY sample
ORDER BY sample
""",
    ),
    "fragments_of_taxa": (
        "Which fragments were named, the surest first: for a closer look, or to take their reads apart.",
        """
SELECT taxa.sample, taxa.name AS taxon, assignments.name AS fragment, assignments.margin
FROM assignments
JOIN taxa ON taxa.sample = assignments.sample
         AND taxa.cluster = 'c' || CAST(assignments.cluster + 1 AS varchar)
WHERE taxa.rank = 'species'
ORDER BY taxa.sample, taxon, assignments.margin DESC, fragment
LIMIT 1000
""",
    ),
    "unassigned": (
        "Fragments of one sample without a cluster, with their sequences; put its name in the place of `pairs`.",
        """
SELECT shards.name, shards.sequence
FROM shards
JOIN assignments ON assignments.fragment = shards.fragment
WHERE shards.sample = 'pairs' AND assignments.sample = 'pairs' AND assignments.cluster = -1
ORDER BY shards.name
LIMIT 1000
""",
    ),
}
