#pragma once

#include "eventlog/voids.h"

namespace landfall {

// The rule of history=latest (twin.h), for stream reported: a report may go as a void once each value that it put is
// superseded in this log, and is of a property whose definition says latest. A device is read when an
// event is newer than what was read of it: meanwhile a value may count as live that no longer is, and goes as it was made.
// The log must outlive it; loop thread only.
MayVoid superseded_latest(Log& log);

}  // namespace landfall
