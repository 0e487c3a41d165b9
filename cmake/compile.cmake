# How everything is compiled.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

option(TIDEMILL_PCH "Precompile the headers of the standard library and fmt" ON)

if(PROJECT_IS_TOP_LEVEL)
  find_program(CCACHE ccache)
  if(CCACHE)
    # A precompiled header changes its time stamps with every build; ccache must look at its contents instead. Paths
    # below the checkout are cached without it, so that all checkouts of a machine share what one has compiled.
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
        CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
        CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE})
    add_compile_options(-ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)
  endif()
  find_program(MOLD mold)
  if(MOLD)
    add_link_options(-fuse-ld=mold)
  endif()
endif()

# Assertions are on in every build, so nothing here defines NDEBUG: one that costs too much doesn't belong in the code.
if(PROJECT_IS_TOP_LEVEL AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
  set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1" CACHE STRING "As in the preset" FORCE)
endif()

# A user's compiler may warn of what ours doesn't know, so warnings stop our own builds only.
option(TIDEMILL_WERROR "Warnings are errors" OFF)
add_library(tidemill_warnings INTERFACE)
target_compile_options(tidemill_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion)
if(TIDEMILL_WERROR)
  # The two exceptions are what GCC 12 gets wrong in the standard library's own code.
  target_compile_options(tidemill_warnings INTERFACE -Werror -Wno-error=restrict -Wno-error=maybe-uninitialized)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND TIDEMILL_PCH)
  target_compile_options(tidemill_warnings INTERFACE -fpch-preprocess)  # So that ccache can look inside.
endif()

# -DTIDEMILL_SANITIZE=address,undefined or thread.
set(TIDEMILL_SANITIZE "" CACHE STRING "Sanitizers to build with")
if(TIDEMILL_SANITIZE)
  add_compile_options(-fsanitize=${TIDEMILL_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${TIDEMILL_SANITIZE})
  if(TIDEMILL_SANITIZE MATCHES thread)
    # The thread sanitizer doesn't know fences; Asio's guard what its mutexes guard too.
    add_compile_definitions(BOOST_ASIO_DISABLE_FENCED_BLOCK)
  endif()
endif()
