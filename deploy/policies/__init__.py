"""Every JSON policy, built in code from names: one function a policy, least privilege, nothing left to a template."""
