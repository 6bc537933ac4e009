#!/usr/bin/env bash
# Two official implementations read different ids from one tokenizer.json.
#
# Versions: tokenizers 0.23.3 (Rust, from Python) and @huggingface/tokenizers 0.2.0 (npm, used by
#   transformers.js 4), Node 20, Python 3.11.
# Expected: the file is complete, so both implementations produce the same ids.
# Actual: a `Split` pre-tokenizer has five values of `behavior`. The npm package implements `Removed`.
#   It handles MergedWithPrevious, MergedWithNext and Contiguous as Isolated, without a message.
# Output, for the text "-a--b-" split at "-":
#   isolated              rust - a - - b -   js - a - - b -   equal
#   removed               rust a b           js a b           equal
#   merged_with_previous  rust - a- - b-     js - a - - b -   DIFFERENT
#   merged_with_next      rust -a - -b -     js - a - - b -   DIFFERENT
#   contiguous            rust - a -- b -    js - a - - b -   DIFFERENT
# Consequence: a model trained with ids of the Rust tokenizer gets other ids in a browser or in Node,
#   and answers nonsense. Decoding is not affected.
# Workaround: express the same split as `Isolated` with a longer pattern. For merged_with_next at "-":
#   Split(Regex("-[^-]*|[^-]+"), "isolated"), whose ids are equal in both. The script checks it.
#
# Exit 0: as described. 1: the behaviour has changed. 2: the packages could not be installed.
set -euo pipefail

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp"
{
    python3 -m venv venv && venv/bin/pip install --quiet tokenizers==0.23.3 &&
        npm install --silent --no-audit --no-fund --ignore-scripts @huggingface/tokenizers@0.2.0
} || { echo "the pinned packages could not be installed" >&2; exit 2; }

venv/bin/python - <<'EOF'
import json

from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

TEXT = "-a--b-"
pieces = ["<unk>", "a", "b", "-", "--", "a-", "b-", "-a", "-b"]
rules = {
    name: ("-", name)
    for name in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous")
}
rules["cure"] = ("-[^-]*|[^-]+", "isolated")
cases = []
for name, (pattern, behavior) in rules.items():
    tokenizer = Tokenizer(WordLevel({p: i for i, p in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Split(Regex(pattern), behavior)
    encoding = tokenizer.encode(TEXT)
    cases.append({"name": name, "text": TEXT, "ids": encoding.ids, "tokens": encoding.tokens,
                  "file": json.loads(tokenizer.to_str())})
by_name = {case["name"]: case["ids"] for case in cases}
assert by_name["cure"] == by_name["merged_with_next"]
json.dump(cases, open("cases.json", "w"))
EOF

cat > show.mjs <<'EOF'
import { readFileSync } from "node:fs";
import { Tokenizer } from "@huggingface/tokenizers";

const differing = [];
for (const { name, text, ids, tokens, file } of JSON.parse(readFileSync("cases.json"))) {
  const js = new Tokenizer(file, {}).encode(text, { add_special_tokens: false });
  const equal = js.ids.join() === ids.join();
  if (!equal) differing.push(name);
  console.log(`${name.padEnd(21)} rust ${tokens.join(" ").padEnd(12)} js ${js.tokens.join(" ").padEnd(12)} ` +
    (equal ? "equal" : "DIFFERENT"));
}
const expected = "merged_with_previous,merged_with_next,contiguous";
if (differing.join() !== expected) {
  console.error(`changed: other ids for [${differing}], expected for [${expected}]`);
  process.exit(1);
}
EOF
node show.mjs
