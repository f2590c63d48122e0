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

// Reports of twin/pump-1 in stream reported by made_run(3), seq 1 to `count`: each supersedes the one before.
std::vector<std::string> made_reports(std::uint64_t count);

// One chunk of them, from seq 1 on.
std::string chunk_of(const RunStream& of, const std::vector<std::string>& rows);
std::string cut(const std::string& chunk, std::uint64_t first, std::uint64_t last);
// As it is sent when those from `first` to `last` are superseded.
std::string with_voids(const std::string& chunk, std::uint64_t first, std::uint64_t last);
std::vector<std::string> rows_in(const std::string& chunk);

}  // namespace landfall
