#!/usr/bin/env bash
# Provisions a machine for the checkout at the given folder (default: the one this script is in): the same set-up as
# scripts/run and scripts/test do. May run again at any time.
set -euo pipefail
cd "${1:-$(dirname "$0")/..}"
scripts/setup
