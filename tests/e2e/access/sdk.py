"""Drives the REST API with PyPI's `cloudflare`. Standard input: {"base", "token"}. Standard output: one JSON document."""

import json
import sys

from cloudflare import Cloudflare, NotFoundError

told = json.load(sys.stdin)
client = Cloudflare(api_token=told["token"], base_url=told["base"], max_retries=0, timeout=15)
access = client.zero_trust.access
account = "0123456789abcdef0123456789abcdef"
out = {}

created = access.service_tokens.create(account_id=account, name="sdk-py", duration="24h")
out["created"] = created.to_dict()
out["rotated"] = access.service_tokens.rotate(created.id, account_id=account).to_dict()
out["listed"] = [token.name for token in access.service_tokens.list(account_id=account)]
updated = client.put(
    f"/accounts/{account}/access/service_tokens/{created.id}", body={"enabled": False}, cast_to=object
)
out["disabled"] = updated
policy = access.policies.create(
    account_id=account, name="py policy", decision="non_identity", include=[{"any_valid_service_token": {}}]
)
app = access.applications.create(
    account_id=account, type="self_hosted", name="py app", domain="py.example.com", policies=[{"id": policy.id}]
)
out["app"] = app.to_dict()
out["got"] = access.applications.get(app.id, account_id=account).to_dict()
out["apps"] = [one.name for one in access.applications.list(account_id=account)]
access.applications.delete(app.id, account_id=account)
access.policies.delete(policy.id, account_id=account)
access.service_tokens.delete(created.id, account_id=account)
try:
    access.service_tokens.get(created.id, account_id=account)
except NotFoundError as error:
    out["missing"] = error.status_code
print(json.dumps(out, default=str))
