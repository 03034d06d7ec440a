"""A release: made, signed, verified, published."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from clapas.cli.verbs import add_verb, json_option, refuse_alone, show


def add_verbs(verbs: Any) -> None:
    """From `clapas release` to `clapas publish`."""
    from clapas.release.command import release_options

    does = "release a run: export, evidence, documents, gate, signature"
    release_options(add_verb(verbs, "release", does, "", _release))
    verb = add_verb(verbs, "keygen", "make a key to sign releases with", "clapas keygen --out keys", _keygen)
    does = "for key.pem (keep it secret) and key.pub.pem; a passphrase: $CLAPAS_KEY_PASSPHRASE"
    verb.add_argument("--out", type=Path, required=True, help=does)
    does = "check a release: sums, signature, that it loads, what it says"
    verb = add_verb(verbs, "verify", does, "clapas verify release/demo --public-key keys/key.pub.pem", _verify)
    verb.add_argument("folder", type=Path)
    does = "whose signature it must have (default: the folder's own key's)"
    verb.add_argument("--public-key", type=Path, metavar="FILE", help=does)
    verb.add_argument("--identity", metavar="WHO", help="who must have signed without a key, through Sigstore")
    verb.add_argument("--identity-provider", metavar="URL", help="where they must have logged in")
    verb.add_argument("--quick", action="store_true", help="sums and signature alone")
    json_option(verb)
    example = "clapas publish release/demo --repo OWNER/NAME"
    verb = add_verb(verbs, "publish", "bring a release to a Hub, or into a mirror", example, _publish)
    verb.add_argument("folder", type=Path, metavar="DIR", help="what `clapas release` wrote")
    where = verb.add_mutually_exclusive_group(required=True)
    where.add_argument("--repo", metavar="OWNER/NAME", help="a model's repository on a Hub; $HF_TOKEN may write there")
    where.add_argument("--mirror", metavar="PLACE", help="a folder that is served, or s3://bucket/prefix")
    does = "the Hub's address (default: $HF_ENDPOINT) or, with --mirror, the S3 store's (default: $AWS_ENDPOINT_URL)"
    verb.add_argument("--endpoint", metavar="URL", help=does)
    verb.add_argument("--private", action="store_true", help="with --repo: a new repository is not public")
    does = "with --repo: do not download large files again; take the SHA-256 that the Hub states"
    verb.add_argument("--quick", action="store_true", help=does)
    verb.add_argument("--dry-run", action="store_true", help="show what would go where, and send nothing")
    json_option(verb)


def _release(options: argparse.Namespace) -> None:
    from clapas.release.command import release_command

    release_command(options)


def _keygen(options: argparse.Namespace) -> None:
    from clapas.release.keys import generate_key

    print(f"{options.out}: key.pem (keep it secret), key.pub.pem; SHA-256 {generate_key(options.out)}")


def _verify(options: argparse.Namespace) -> None:
    from clapas.release.verify import verify, whose

    by = whose(options.public_key, options.identity, options.identity_provider)
    found = verify(options.folder, by, quick=options.quick)
    print(found.to_json() if options.json else found)
    found.raise_for_problems()


def _publish(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from clapas.release.publish import command

    chosen = {"endpoint": options.endpoint, "dry_run": options.dry_run}
    if options.mirror is not None:
        refuse_alone(options, "--repo OWNER/NAME", ("private", "quick"))
        said = command.publish_to_mirror(options.folder, options.mirror, **chosen)
    else:
        chosen |= {"private": options.private, "quick": options.quick}
        said = command.publish_to_hub(options.folder, options.repo, **chosen)
    show(asdict(said), options.json, lambda _: said.table())
