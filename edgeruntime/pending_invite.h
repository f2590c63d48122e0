#pragma once

#include <string>

#include "edgeruntime/config.h"
#include "edgeruntime/identity.h"

namespace landfall {

// What an edge keeps in <dir>/enrolment from init until the hub has answered: its key, and the invite to use.
struct PendingInvite {
  Invite invite;
  std::string key_pem;
};

Status save_pending_invite(const NodePaths& paths, const PendingInvite& pending);
// Errors: `not_found` where the edge was never initialised; as read_secret_file and decode_invite.
Result<PendingInvite> load_pending_invite(const NodePaths& paths);
Status forget_invite(const NodePaths& paths);

}  // namespace landfall
