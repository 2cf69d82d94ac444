#!/usr/bin/env bash
# onnxruntime 1.32.0 on Linux: importing it writes an identity of the device and a database of events into the user's home folder.
#
# One would expect an import to write nothing. Within seconds of `import onnxruntime`, before any session or model, there are
# ~/.cache/Microsoft/DeveloperTools/.onnxruntime/deviceid and onnxruntime.db. disable_telemetry_events(), called after the import, comes
# too late for them. The environment variable ORT_DISABLE_TELEMETRY=1, set before the import, leaves the folder empty. So a program that
# promises to keep nothing has to set it before anything imports onnxruntime.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
uv venv --quiet --python 3.11 "$folder/venv"
uv pip install --quiet --python "$folder/venv/bin/python" "onnxruntime==1.32.0" "numpy==2.4.0"
files() { # after the import in a home of its own, with the settings given
    local home="$folder/home-$1"
    mkdir "$home"
    (shift && env -u XDG_CACHE_HOME HOME="$home" "$@")
    (cd "$home" && find . -type f | sort)
}
bare=$(files bare "$folder/venv/bin/python" -c "import onnxruntime, time; time.sleep(4)")
late=$(files late "$folder/venv/bin/python" -c "import onnxruntime, time; onnxruntime.disable_telemetry_events(); time.sleep(4)")
off=$(files off ORT_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" -c "import onnxruntime, time; time.sleep(4)")
printf 'onnxruntime 1.32.0, files at home after the import:\n%s\nwith disable_telemetry_events():\n%s\nwith ORT_DISABLE_TELEMETRY=1: %s\n' \
    "$bare" "$late" "${off:-none}"
grep --quiet "DeveloperTools/.onnxruntime/deviceid" <<< "$bare"
grep --quiet "DeveloperTools/.onnxruntime/deviceid" <<< "$late"
[ -z "$off" ]
