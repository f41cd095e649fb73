import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.cert.PKIXParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.PKIXRevocationChecker.Option;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * java Verify.java ocsp|crl|soft ROOT.pem PRESENTED.pem: validates the presented chain (leaf first) to the root with
 * revocation checking that neither falls back to the other source nor, but for soft, lets an unknown status pass.
 *
 * <p>Prints "accepted", or "refused REASON: words", and does so again for each line that it is then told. Exit status
 * by the last verdict: 0 accepted, 1 refused.
 */
public final class Verify {
    private Verify() {}

    public static void main(String[] arguments) throws GeneralSecurityException, IOException {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        X509Certificate root = (X509Certificate) read(factory, arguments[1]).get(0);
        CertPath path = factory.generateCertPath(read(factory, arguments[2]));
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        boolean accepted;
        do {
            accepted = accepts(path, parameters, options(arguments[0]));
        } while (lines.readLine() != null);
        System.exit(accepted ? 0 : 1);
    }

    private static boolean accepts(CertPath path, PKIXParameters parameters, EnumSet<Option> options)
            throws GeneralSecurityException {
        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        PKIXRevocationChecker revocation = (PKIXRevocationChecker) validator.getRevocationChecker();
        revocation.setOptions(options);
        parameters.setCertPathCheckers(List.of(revocation));
        try {
            validator.validate(path, parameters);
            System.out.println("accepted");
            return true;
        } catch (CertPathValidatorException refusal) {
            System.out.println("refused " + refusal.getReason() + ": " + refusal.getMessage());
            return false;
        }
    }

    /**
     * By CRL the whole path is checked; by OCSP the leaf, for the issuing CA's own status is in the root's CRL; softly
     * the leaf, which passes when it has no status.
     */
    private static EnumSet<Option> options(String source) {
        return switch (source) {
            case "ocsp" -> EnumSet.of(Option.NO_FALLBACK, Option.ONLY_END_ENTITY);
            case "crl" -> EnumSet.of(Option.NO_FALLBACK, Option.PREFER_CRLS);
            case "soft" ->
                    EnumSet.of(Option.NO_FALLBACK, Option.ONLY_END_ENTITY, Option.PREFER_CRLS, Option.SOFT_FAIL);
            default -> throw new IllegalArgumentException("the source is ocsp, crl or soft, not " + source);
        };
    }

    private static List<Certificate> read(CertificateFactory factory, String file)
            throws GeneralSecurityException, IOException {
        try (InputStream stream = Files.newInputStream(Path.of(file))) {
            return new ArrayList<>(factory.generateCertificates(stream));
        }
    }
}
