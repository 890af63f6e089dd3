"""Reads the facts that the differ test needs out of Docker's API reference: python3 reference.py engine-api-v1.51.yaml > reference.json

For every operation its statuses and the shape of each answer; for every named type its members. A shape has `type`,
`members`, `required`, `items`, `values` (of members with any name), `null` (it may be), `one_of` (an enumeration), `all`,
`is` (a named type). No words of the reference's text are kept.
"""
import json
import sys

import yaml


def shape(schema):
    if not schema:
        return {}
    if "$ref" in schema:
        return {"is": schema["$ref"].rsplit("/", 1)[1]}
    found = {}
    if "type" in schema:
        found["type"] = schema["type"]
    if schema.get("x-nullable"):
        found["null"] = True
    if schema.get("enum"):
        found["one_of"] = schema["enum"]
    if schema.get("required"):
        found["required"] = schema["required"]
    if schema.get("properties"):
        found["members"] = {name: shape(member) for name, member in schema["properties"].items()}
    if "items" in schema:
        found["items"] = shape(schema["items"])
    if "additionalProperties" in schema:
        values = schema["additionalProperties"]
        found["values"] = shape(values) if isinstance(values, dict) else {}
    if "allOf" in schema:
        found["all"] = [shape(part) for part in schema["allOf"]]
    return found


with open(sys.argv[1]) as file:
    reference = yaml.safe_load(file)
operations = {}
for path, methods in reference["paths"].items():
    for method, operation in methods.items():
        responses = {}
        for status, response in operation.get("responses", {}).items():
            responses[str(status)] = shape(response["schema"]) if "schema" in response else None
        operations[f"{method.upper()} {path}"] = {"answers": responses, "json": "application/json" in operation.get("produces", reference["produces"])}
parts = []
for title, table in [("operations", operations), ("types", {name: shape(schema) for name, schema in reference["definitions"].items()})]:
    rows = [f"  {json.dumps(name)}: {json.dumps(row, sort_keys=True)}" for name, row in sorted(table.items())]
    parts.append(f' "{title}": {{\n' + ",\n".join(rows) + "\n }")
print("{\n" + ",\n".join(parts) + "\n}")
