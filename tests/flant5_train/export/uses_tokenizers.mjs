// Tokenizes and renders as transformers.js does: `node uses_tokenizers.mjs QUESTION`, a JSON file.
import { readFileSync } from "node:fs";
import { Template } from "@huggingface/jinja";
import { Tokenizer } from "@huggingface/tokenizers";

const read = (path) => JSON.parse(readFileSync(path, "utf8"));
const question = read(process.argv[2]);
const config = read(`${question.directory}/tokenizer_config.json`);
const tokenizer = new Tokenizer(read(`${question.directory}/tokenizer.json`), config);
const template = new Template(config.chat_template);
const rendered = question.conversations.map((messages) =>
  template.render({ messages, add_generation_prompt: messages.at(-1).role === "user" }),
);
const ids = question.texts.map((text) => tokenizer.encode(text).ids);
const decoded = question.ids.map((each) => tokenizer.decode(each, { skip_special_tokens: true }));
console.log(JSON.stringify({ ids, decoded, rendered }));
