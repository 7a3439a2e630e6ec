"""Who may do what with a tenant's buckets."""

from __future__ import annotations

from typing import Any

from deploy.topology import Names


def lake_bucket_policy(names: Names) -> dict[str, Any]:
    """Of the readings' bucket."""
    return _tls_only(names.lake_bucket_arn)


def model_bucket_policy(names: Names) -> dict[str, Any]:
    """Of the bucket of bundles and their stages."""
    return _tls_only(names.model_bucket_arn)


def _tls_only(bucket_arn: str) -> dict[str, Any]:
    """Access is granted by roles; the bucket itself only refuses what does not come over TLS."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [bucket_arn, f"{bucket_arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
