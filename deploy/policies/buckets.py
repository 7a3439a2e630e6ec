"""Who may do what with the lake's bucket."""

from __future__ import annotations

from typing import Any

from deploy.topology import Names


def lake_bucket_policy(names: Names) -> dict[str, Any]:
    """Access is granted by roles; the bucket itself only refuses what does not come over TLS."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [names.lake_bucket_arn, f"{names.lake_bucket_arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
