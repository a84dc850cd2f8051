# Sourced by the commands at the top: sets $python to a Python 3.10 to 3.13 that runs, or says what to do.
# A name on PATH is not enough: version managers leave shims that fail.
python=
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "No working Python 3.10 to 3.13 found (tried: ${PYTHON:-python3, python3.13, 3.12, 3.11, 3.10}); install one, or name it: PYTHON=/path/to/python $0" >&2
    exit 1
fi
