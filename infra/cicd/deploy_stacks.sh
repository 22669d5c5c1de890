#!/usr/bin/env bash
# Bring the stacks of an installation to the state of this commit: deploy_stacks.sh PROJECT CODE_BUCKET [ROLE_ARN]
#
#   infra/cicd/deploy_stacks.sh readclade readclade-code-ACCOUNT-REGION
#
# Only stacks that exist are updated, and each keeps the parameters it has: which stacks there are, and how large, is
# decided by whoever deploys them first (docs/cloud-deploy.md). `cicd` is left out: what a commit may do is decided outside of it.
# ROLE_ARN is the role that CloudFormation takes on; without it, it goes by your own rights.
set -euo pipefail

project=$1
bucket=$2
role=${3:-}

# In the order in which they are printed: each after those that it takes something from.
written=$("${PYTHON:-.venv-infra/bin/python}" -m infra.app)
workflow=$(basename infra/build/code/workflow/*.tar.gz .tar.gz)
for folder in workflow pcluster; do
    aws s3 sync --only-show-errors "infra/build/code/$folder" "s3://$bucket/$folder"
done

while read -r template; do
    [[ $template == *.template.json ]] || continue
    name=$(basename "$template" .template.json)
    [[ $name != cicd ]] || continue
    if ! said=$(aws cloudformation describe-stacks --stack-name "$project-$name" 2>&1); then
        if [[ $said != *"does not exist"* ]]; then
            echo "deploy_stacks: $said" >&2
            exit 1
        fi
        echo "deploy_stacks: $project-$name does not exist, and is not made"
        continue
    fi
    overrides=("Project=$project")
    # CloudFormation would keep the checksum of the workflow that is deployed now.
    [[ $name != pcluster ]] || overrides+=("WorkflowSha256=$workflow")
    # The capabilities are those that ParallelCluster's own stack asks for, which is part of `pcluster`.
    aws cloudformation deploy --stack-name "$project-$name" --template-file "$template" --no-fail-on-empty-changeset \
        --capabilities CAPABILITY_NAMED_IAM CAPABILITY_AUTO_EXPAND ${role:+--role-arn "$role"} \
        --parameter-overrides "${overrides[@]}" < /dev/null
done <<< "$written"
