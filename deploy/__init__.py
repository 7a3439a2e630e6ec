"""Creates what plantwatch needs in an AWS account, region by region, and says what it changed."""
