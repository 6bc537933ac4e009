"""Chat page at `/chat`: conversations with a model and, beside it, its base model.

`page.chat_page` builds the page, `conversation.ConversationView` shows the messages and the input
box, and `history.ConversationCache` stores the conversations.

May import `api.dashboard.ui` and `api.dashboard.jobs.rows`, the services and schemas of the API,
and `worker.jobs`.
"""
