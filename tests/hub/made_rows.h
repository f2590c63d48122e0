#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "schemas/event.h"

namespace landfall {

// Rows, without their lengths, of every kind of event that a node may write.
Event made(Kind kind, std::string_view subject, std::string_view payload);
std::string row_of(const Event& event);
std::vector<std::string> plain_rows();
std::vector<std::string> strange_rows();  // of which no header of ours tells all
std::vector<std::string> made_changes();  // of twin/pump-1 in stream desired, by made_run(3)

// One chunk of them, from seq 1 on.
std::string chunk_of(const RunStream& of, const std::vector<std::string>& rows);

}  // namespace landfall
