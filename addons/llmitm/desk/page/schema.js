// What a tool's JSON schema says about arguments: a first draft of them, hints for people, and
// mistakes. A small part of JSON schema (type, required, properties, enum, items); what it does not
// know it lets pass, because the client judges in the end.

const MOST = 20;

/** Arguments to begin with: every required property, with the simplest value that fits. */
export function skeleton(schema) {
  const made = {};
  for (const name of schema?.required ?? []) made[name] = simplest(schema.properties?.[name]);
  return made;
}

function simplest(schema) {
  if (schema?.default !== undefined) return schema.default;
  if (schema?.enum?.length) return schema.enum[0];
  const kind = [].concat(schema?.type ?? "string")[0];
  return { string: "", number: 0, integer: 0, boolean: false, array: [], object: skeleton(schema), null: null }[kind] ?? "";
}

/** [{name, type, required, words}] of the properties. */
export function properties(schema) {
  return Object.entries(schema?.properties ?? {}).map(([name, each]) => ({ name, type: typeName(each), required: (schema.required ?? []).includes(name), words: each?.description ?? "" }));
}

function typeName(schema) {
  if (schema?.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  const kind = [].concat(schema?.type ?? "any").join(" | ");
  return kind === "array" && schema.items ? `list of ${typeName(schema.items)}` : kind;
}

/** Mistakes of the text of arguments in words; empty = none found. */
export function mistakes(text, schema) {
  let read;
  try {
    read = JSON.parse(text);
  } catch (error) {
    return [`Not JSON: ${error.message}`];
  }
  if (read === null || typeof read !== "object" || Array.isArray(read)) return ["Arguments must be a JSON object."];
  const found = [];
  judge(read, schema, "", found);
  return found.slice(0, MOST);
}

function kindOf(given) {
  if (given === null) return "null";
  if (Array.isArray(given)) return "array";
  return typeof given;
}

function fits(given, kind) {
  if (kind === "integer") return Number.isInteger(given);
  return kind === kindOf(given);
}

function judge(given, schema, path, found) {
  if (!schema || typeof schema !== "object") return;
  const at = path || "arguments";
  const kinds = schema.type === undefined ? [] : [].concat(schema.type);
  if (kinds.length && !kinds.some((kind) => fits(given, kind))) {
    found.push(`${at}: must be ${kinds.join(" or ")}`);
    return;
  }
  if (schema.enum && !schema.enum.some((one) => JSON.stringify(one) === JSON.stringify(given))) found.push(`${at}: must be one of ${schema.enum.map((one) => JSON.stringify(one)).join(", ")}`);
  if (kindOf(given) === "object") judgeObject(given, schema, path, found);
  if (kindOf(given) === "array" && schema.items) given.forEach((one, index) => judge(one, schema.items, `${at}[${index}]`, found));
}

function judgeObject(given, schema, path, found) {
  const inside = (name) => (path ? `${path}.${name}` : name);
  for (const name of schema.required ?? []) if (!(name in given)) found.push(`${inside(name)}: missing`);
  for (const [name, value] of Object.entries(given)) {
    if (schema.properties && Object.hasOwn(schema.properties, name)) judge(value, schema.properties[name], inside(name), found);
    else if (schema.additionalProperties === false) found.push(`${inside(name)}: the tool knows no such argument`);
  }
}
