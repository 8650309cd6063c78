/* Who may ask: an active tenant with its token. */
#ifndef SPLINTER_TOKEN_H
#define SPLINTER_TOKEN_H

static __always_inline int check_token(struct tenant *tenant, __u64 token)
{
    if (!(*(volatile __u32 *)&tenant->flags & TENANT_ACTIVE))
        return VERDICT_UNKNOWN_TENANT;
    /* While a token is being changed two are valid. 0 is none: it is no match for a second token that is not there. */
    if (*(volatile __u64 *)&tenant->token != token && (*(volatile __u64 *)&tenant->former_token != token || token == 0))
        return VERDICT_WRONG_TOKEN;
    return FURTHER_PROCESSING;
}

#endif
