#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/clock.hpp>
#include <tidemill/store.hpp>

/// Small texts beside the tasks, such as idempotency keys, tokens and users: an optional part of the port.
namespace tidemill {

struct DocumentName {
  std::string folder = {};
  std::string name = {};  ///< Unique in its folder.
};

struct Document {
  std::string folder = {};
  std::string name = {};
  std::string text = {};
  std::uint64_t version = 0;                 ///< New with every write; never zero in answers.
  std::optional<TimePoint> expires_at = {};  ///< From this instant on it is as if it were not there.
};

struct EraseDocument {
  std::string folder = {};
  std::string name = {};
  std::optional<std::uint64_t> version = {};  ///< None: whichever is stored.
};

/// Texts that are written only over what their writer has seen.
///
/// A write's version is greater than all that the store has given, for whatever name, and not less than the
/// store's time in microseconds since 1970. So no version of a name comes twice, also when the document has
/// been erased or has expired in between.
///
/// Time is `Call::now` alone; `Store::sweep` deletes what has expired. Folders and names have 1 to 4096 bytes
/// of any sort, a text has up to a megabyte (2^20 bytes). All else is an Error{invalid}, and nothing of the
/// batch is written. A batch is one write, in order: later items see what the earlier ones did.
///
/// Thread safety: all members may be called from any thread.
class Documents {
 public:
  virtual ~Documents() = default;

  virtual std::vector<std::optional<Document>> get(std::span<const DocumentName> names, const Call& call) = 0;
  /// Writes each, if the stored version is its `version` (zero: there must be none). The answers are the new
  /// versions; none: another is stored, read again.
  virtual std::vector<std::optional<std::uint64_t>> put(std::span<const Document> documents,
                                                        const Call& call) = 0;
  /// False when there is no such document, or another version of it.
  virtual std::vector<bool> erase(std::span<const EraseDocument> documents, const Call& call) = 0;
  /// Those of one folder, by name (byte by byte), after the name `after`; `limit` at most.
  virtual std::vector<Document> list(std::string_view folder, std::string_view after, std::size_t limit,
                                     const Call& call) = 0;
};

}  // namespace tidemill
