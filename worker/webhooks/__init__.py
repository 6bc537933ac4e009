"""The process that sends webhooks to the operator's endpoints when jobs end."""
