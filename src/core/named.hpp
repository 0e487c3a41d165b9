#pragma once

#include <cstddef>
#include <string_view>

#include <tidemill/documents.hpp>
#include <tidemill/locks.hpp>

/// What every store asks of locks and documents before it does anything.
namespace tidemill::rules {

/// Longest names of locks, owners, folders and documents, in bytes; they are stored in indexes.
inline constexpr std::size_t named_bytes_max = 4096;
inline constexpr std::size_t document_bytes_max = 1U << 20U;
/// Whoever wants a lock for longer extends it.
inline constexpr Duration lock_length_max = std::chrono::hours{24 * 366};

/// Throws Error{invalid}.
void check_lock(std::string_view name, std::string_view owner);
void check_lock(std::string_view name, std::string_view owner, Duration length);
void check_document(std::string_view folder, std::string_view name);
void check_document(const Document& document);

}  // namespace tidemill::rules
