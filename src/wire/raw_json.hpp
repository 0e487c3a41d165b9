#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

/// The text of values inside a document, as it was sent: a number that is read and written again can come out
/// another way, and a payload must not.
namespace tidemill::wire {

/// The value of a member of an object; the last one of that name, as it counts. Empty when there is none.
/// REQUIRES: `object` is JSON, and an object.
std::string_view raw_member(std::string_view object, std::string_view name);

/// The values of all members, in the order they stand. REQUIRES: `object` is JSON, and an object.
std::vector<std::string_view> raw_members(std::string_view object);

/// By their names without escapes; the last one of a name counts. REQUIRES: `object` is JSON, and an object.
std::map<std::string, std::string_view> raw_members_by_name(std::string_view object);

/// REQUIRES: `array` is JSON, and an array.
std::vector<std::string_view> raw_elements(std::string_view array);

}  // namespace tidemill::wire
