#include "core/named.hpp"

#include <fmt/format.h>

#include <tidemill/error.hpp>

namespace tidemill::rules {

namespace {

[[noreturn]] void refuse(std::string message) { throw Error{ErrorKind::invalid, std::move(message)}; }

/// Unlike the names of `check_name` these may be derived from anything, so they have any bytes.
void check(std::string_view what, std::string_view name) {
  if (name.empty()) refuse(fmt::format("the {} is empty; give it one byte or more", what));
  if (name.size() > named_bytes_max) {
    refuse(fmt::format("the {} \"{}…\" has {} bytes; {} are allowed", what, name.substr(0, 40), name.size(),
                       named_bytes_max));
  }
}

}  // namespace

void check_lock(std::string_view name, std::string_view owner) {
  check("lock's name", name);
  check("lock's owner", owner);
}

void check_lock(std::string_view name, std::string_view owner, Duration length) {
  check_lock(name, owner);
  if (length > Duration::zero() && length <= lock_length_max) return;
  refuse(
      fmt::format("lock \"{}\": its length is {} µs; it must be more than zero, such as 30 s, and a year "
                  "at most",
                  name, length.count()));
}

void check_document(std::string_view folder, std::string_view name) {
  check("document's folder", folder);
  check("document's name", name);
}

void check_document(const Document& document) {
  check_document(document.folder, document.name);
  if (document.text.size() <= document_bytes_max) return;
  refuse(fmt::format("the document \"{}/{}\" has {} bytes; {} are allowed", document.folder, document.name,
                     document.text.size(), document_bytes_max));
}

}  // namespace tidemill::rules
