// Stands in for Gloo's header, which libtorch's packages leave out: c10d's names it, and uses nothing of it.
#pragma once
