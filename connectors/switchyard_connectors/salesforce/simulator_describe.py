"""How the simulated org describes its objects (vendor documentation, sObject Describe and Describe Global)."""

from __future__ import annotations

from typing import Any

from switchyard_connectors.salesforce.simulator_schema import Field, ObjectType

_SHORT = ("boolean", "int", "double", "currency", "date", "datetime")


def described(kind: ObjectType) -> dict[str, Any]:
    """The answer of `describe`, with the parts that clients look at."""
    return {
        **summary(kind),
        "fields": [_described_field(each) for each in kind.fields.values()],
        "childRelationships": [],
        "recordTypeInfos": [],
    }


def summary(kind: ObjectType) -> dict[str, Any]:
    """One entry of the list of all objects."""
    custom = kind.name.endswith("__c")
    return {
        "name": kind.name,
        "label": kind.name,
        "labelPlural": f"{kind.name}s",
        "keyPrefix": kind.prefix,
        "custom": custom,
        "createable": True,
        "updateable": True,
        "deletable": True,
        "queryable": True,
        "retrieveable": True,
        "replicateable": True,
        "undeletable": True,
        "mergeable": kind.name in ("Contact", "Lead", "Account"),
        "urls": {},
    }


def _described_field(each: Field) -> dict[str, Any]:
    return {
        "name": each.name,
        "label": each.name,
        "type": each.kind,
        "length": each.length if each.kind not in _SHORT else 0,
        "precision": 18 if each.kind in ("double", "currency") else 0,
        "scale": 2 if each.kind == "currency" else 0,
        "nillable": not each.required and each.kind not in ("boolean", "id"),
        "createable": each.createable,
        "updateable": each.updateable,
        "externalId": each.external,
        "idLookup": each.external or each.kind in ("id", "email"),
        "unique": each.unique,
        "filterable": each.filterable,
        "sortable": each.filterable,
        "calculated": each.derived,
        "custom": each.name.endswith("__c"),
        "compoundFieldName": each.part_of,
        "defaultedOnCreate": each.default is not None,
        "defaultValue": None if each.kind == "reference" else each.default,
        "picklistValues": [
            {"value": value, "label": value, "active": True, "defaultValue": value == each.default}
            for value in each.values
        ],
        "referenceTo": list(each.refers),
        "relationshipName": each.relationship,
    }
