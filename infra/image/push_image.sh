#!/usr/bin/env bash
# Build the image of Ray's nodes from this checkout, push it, and print it by digest: push_image.sh URI COMMIT
#
#   infra/image/push_image.sh ACCOUNT.dkr.ecr.REGION.amazonaws.com/readclade "$(git rev-parse HEAD)"
#
# URI is the output ImageUri of the stack `image`. The tag is the commit, and can never be moved; where it is there
# already, nothing is built. Needs docker, and credentials that may push.
set -euo pipefail

uri=$1
tag=$2
if [[ ! $uri =~ ^([0-9]{12}\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?)/([a-z0-9][a-z0-9._/-]*)$ ]]; then
    echo "push_image: '$uri' is no repository of ECR; the output ImageUri of the stack image is" >&2
    exit 2
fi
if [[ ! $tag =~ ^[0-9a-f]{40}$ ]]; then
    echo "push_image: '$tag' is no commit; git rev-parse HEAD prints it in full" >&2
    exit 2
fi
registry=${uri%%/*}
region=$(cut -d . -f 4 <<< "$registry")
name=${uri#*/}

# find_digest: print the digest that the tag has, or fail where the registry has no such tag.
find_digest() {
    aws ecr describe-images --region "$region" --repository-name "$name" --image-ids imageTag="$tag" \
        --query 'imageDetails[0].imageDigest' --output text
}

if ! digest=$(find_digest 2> /dev/null); then
    aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "$registry" >&2
    docker build --file infra/image/Dockerfile --tag "$uri:$tag" . >&2
    docker push "$uri:$tag" >&2
    digest=$(find_digest)
fi
if [[ ! $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
    echo "push_image: the registry gives '$digest' in place of a digest" >&2
    exit 1
fi
echo "$uri@$digest"
