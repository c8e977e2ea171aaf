#!/usr/bin/env bash
# From a feedback export of Open WebUI to a model that answers: import, train, merge, serve, one chat.
#   pip install 'valuefree[serving]' 'transformers[serving]'
#   examples/log_to_served.sh [EXPORT.json]
# MODEL, OUT and PORT may be set. The 24 feedbacks of the example show the way; they are too few to learn from.
set -euo pipefail
EXPORT=${1:-$(dirname "$0")/open_webui_feedback.json}
MODEL=${MODEL:-HuggingFaceTB/SmolLM2-135M-Instruct}
OUT=${OUT:-outputs/log_to_served}
PORT=${PORT:-8000}

valuefree import "$EXPORT" --from open-webui --out "$OUT/rows.jsonl"
valuefree train "$OUT/rows.jsonl" --model "$MODEL" --epochs 4 --warmup-steps 1 --out "$OUT/run"
valuefree merge "$OUT/run" --out "$OUT/merged"

transformers serve "$OUT/merged" --host 127.0.0.1 --port "$PORT" --log-level warning &
server=$!
trap 'kill "$server"' EXIT
until curl --noproxy '*' -sf "http://127.0.0.1:$PORT/health" >/dev/null; do
  kill -0 "$server" # ends the script if the server has ended
  sleep 0.5
done
curl --noproxy '*' -sS --fail-with-body "http://127.0.0.1:$PORT/v1/chat/completions" -H 'Content-Type: application/json' -d "{
  \"model\": \"$OUT/merged\",
  \"messages\": [{\"role\": \"user\", \"content\": \"How many minutes are in three hours?\"}],
  \"max_tokens\": 40
}"
echo
