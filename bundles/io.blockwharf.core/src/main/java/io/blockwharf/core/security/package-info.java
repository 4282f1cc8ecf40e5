/** TLS credentials and authorizers: object types that servers use. */
package io.blockwharf.core.security;
