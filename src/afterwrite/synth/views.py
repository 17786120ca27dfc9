"""Caches and search indexes on AWS: parameters say where they are, and roles may write to the indexes."""

from __future__ import annotations

from afterwrite.app import App
from afterwrite.synth.document import Parameter, Ref, join, logical_id
from afterwrite.synth.stack import Stack

CACHE_MODULE = "afterwrite.targets.redis"
SEARCH_MODULE = "afterwrite.targets.opensearch"


def add(stack: Stack) -> None:
    """The parameters of the app's caches, and of its search indexes that are OpenSearch's."""
    for cache in stack.app.caches:
        stack.views[f"cache/{cache.name}"] = _parameter(
            stack, logical_id(cache.name, "CacheUrl"), f"The URL of the cache {cache.name}: rediss://host:port"
        )
        stack.notes.append(
            f"{cache.name}: the functions of routes reach a cache in a VPC only from its subnets, which this "
            "template does not choose"
        )
    for index in stack.app.search_indexes:
        if index.url is None:
            stack.notes.append(
                f"{index.name}: a search index without a url is the embedded engine's; nothing is indexed on AWS"
            )
            continue
        stack.views[f"search_index/{index.name}"] = _parameter(
            stack, logical_id(index.name, "SearchEndpoint"), f"The URL of the domain of the search index {index.name}"
        )
        domain = _parameter(
            stack, logical_id(index.name, "SearchDomainArn"), f"The ARN of the domain of the search index {index.name}"
        )
        stack.search_arns.append(join(domain, f"/{index.name.lower()}/*"))


def not_deployed(app: App) -> frozenset[str]:
    """The modules that carry out effects which the app cannot ask for."""
    without = set[str]()
    if not app.caches:
        without.add(CACHE_MODULE)
    if all(index.url is None for index in app.search_indexes):
        without.add(SEARCH_MODULE)
    return frozenset(without)


def _parameter(stack: Stack, name: str, description: str) -> Ref:
    stack.parameters.append(Parameter(name, description))
    return Ref(name)
