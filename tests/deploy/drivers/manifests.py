"""Reads YAML documents, and says them as JSON.

With versions of Kubernetes as arguments, each document must be what these versions know; kinds that
are not Kubernetes' own are said as they are.
"""

import json
import sys

import kubernetes_validate
import yaml


def main() -> int:
    documents = [found for found in yaml.safe_load_all(sys.stdin) if found is not None]
    mistakes = []
    for version in sys.argv[1:]:
        for document in documents:
            if document["apiVersion"].startswith("monitoring.coreos.com/"):
                continue
            name = f"{document['kind']} {document['metadata']['name']}"
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                place = "/".join(map(str, error.path))
                mistakes.append(f"{name} in {version}: {place}: {error.message}")
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    json.dump(documents, sys.stdout)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main())
