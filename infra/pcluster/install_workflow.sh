#!/usr/bin/env bash
# Install the workflow on the file system that all nodes share. ParallelCluster runs this on the head node, as root, when
# it is ready and at each update: install_workflow.sh BUCKET PARAMETER, such as readclade-code-1-us-east-2 /readclade/workflow
#
# PARAMETER of Systems Manager holds the SHA-256 of workflow/<SHA-256>.tar.gz in BUCKET. Nothing is installed whose
# checksum is not known before: the archive's is in PARAMETER, Miniforge's below, the packages' in requirements/.
# Packages come from software/wheels/ in BUCKET where that exists, else from PyPI.
set -euo pipefail

bucket=$1
parameter=$2
home=${READCLADE_HOME:-/fsx/readclade}
user=${READCLADE_USER:-ec2-user}

# Conda makes the environments of the rules. Checksum: published beside the installer in Miniforge's release.
miniforge=Miniforge3-26.3.2-2-Linux-x86_64.sh
miniforge_sha256=42260ffe3830fb953d5eee1bbb32229ff06aa7c3833c1ed7a9a0420a95685d94
miniforge_url=https://github.com/conda-forge/miniforge/releases/download/26.3.2-2/$miniforge

say() { echo "install_workflow: $*"; }
fail() { say "$*" >&2; exit 1; }

# fetch URI FILE: take a file from S3.
fetch() { aws s3 cp --only-show-errors "$1" "$2"; }

# check FILE SHA256: refuse a file that is not the one that was meant.
check() { echo "$2  $1" | sha256sum --check --status || fail "$1 does not have the SHA-256 $2; nothing was installed"; }

mountpoint -q "${home%/*}" || fail "${home%/*} is not mounted: the file system of the stack lustre must exist first"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$home"

sha256=$(aws ssm get-parameter --name "$parameter" --query Parameter.Value --output text)
[[ $sha256 =~ ^[0-9a-f]{64}$ ]] || fail "the parameter $parameter holds no SHA-256 but '$sha256'"
release=$home/releases/$sha256

# The stamp is written last: a folder without it was left by an installation that did not end well.
if [[ ! -f $release/.installed ]]; then
    fetch "s3://$bucket/workflow/$sha256.tar.gz" "$work/workflow.tar.gz"
    check "$work/workflow.tar.gz" "$sha256"
    rm -rf "$release"
    mkdir -p "$release"
    tar --extract --gzip --no-same-owner --file "$work/workflow.tar.gz" --directory "$release"
    dnf install --quiet --assumeyes python3.11 make
    wheels=$home/wheels
    aws s3 sync --only-show-errors --delete "s3://$bucket/software/wheels/" "$wheels"
    if [[ -n $(find "$wheels" -name '*.whl' -print -quit 2> /dev/null) ]]; then
        export PIP_NO_INDEX=1 PIP_FIND_LINKS=$wheels
    fi
    make --directory "$release" --silent install PYTHON=python3.11 || fail "the packages of $release/requirements/run.txt could not be installed, or the loops not compiled: see above"
    touch "$release/.installed"
fi

if [[ ! -x $home/conda-base/bin/conda ]]; then
    fetch "s3://$bucket/software/$miniforge" "$work/$miniforge" ||
        curl --fail --silent --show-error --location --proto '=https' --output "$work/$miniforge" "$miniforge_url"
    check "$work/$miniforge" "$miniforge_sha256"
    rm -rf "$home/conda-base"
    bash "$work/$miniforge" -b -p "$home/conda-base" > "$work/conda.log" || fail "$(tail -n 5 "$work/conda.log")"
fi

ln --symbolic --force --no-dereference "$release" "$home/workflow"
mkdir -p "$home/run" "$home/conda"
chown "$user:" "$home/run" "$home/conda"
cat > "${READCLADE_PROFILE:-/etc/profile.d/readclade.sh}" << END
export PATH=$home/workflow/.venv/bin:$home/conda-base/bin:\$PATH
END

say "installed $sha256 in $release; $home/workflow leads there"
