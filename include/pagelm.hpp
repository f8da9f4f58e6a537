// pagelm.hpp: pagelm.h for C++17, in headers alone.
//
//   pagelm::Model model = pagelm::Model::load("model.gguf");
//   pagelm::Session session = model.session();
//   for (pagelm::Piece piece : session.generate("Once upon a time", 100))
//       std::cout << piece.text << std::flush;
//
// What it adds to pagelm.h, and no more: objects that own the memory their handle lives in, failures
// that cannot be overlooked, text in whole characters, and ranges. The meaning of every call, field,
// flag and status is in pagelm.h.
//
// Objects can be moved and not copied. Moving is safe at any time: what lies in memory stays where
// it is. A model must outlive its sessions, a session the ranges and views that it gave.
//
// Failures. `Result<T>`, which nearly every function returns, is
//   - with exceptions: T itself; a failure is thrown as an Error;
//   - without (-fno-exceptions, or PAGELM_NO_EXCEPTIONS defined): a T or an Error, in the way of
//     std::expected, and not to be ignored:
//         auto model = pagelm::Model::load("model.gguf");
//         if (!model)
//             return complain(model.error());
//         auto session = model->session();
// Memory that cannot be had is an Error too (PAGELM_ERROR_OUT_OF_MEMORY), but for the strings and
// vectors of the standard library, which fail in their own way.
//
// Threads: as in pagelm.h. Nothing here is shared between objects.
//
// In reading order: pagelm/base.hpp (failures, views), pagelm/model.hpp, pagelm/session.hpp.
#ifndef PAGELM_HPP
#define PAGELM_HPP

#include "pagelm/base.hpp"
#include "pagelm/model.hpp"
#include "pagelm/session.hpp"

#endif // PAGELM_HPP
