"""Words that stand where a name could: functions, headings, what follows a name in a letter's head. In lower case."""

from __future__ import annotations

_FUNCTIONS = """
    président présidente vice-président vice-présidente ministre premier première maire préfet préfète
    directeur directrice procureur procureure juge commissaire secrétaire recteur rectrice doyen doyenne chef
    cheffe responsable rapporteur rapporteure rapporteuse greffier greffière avocat avocate conseiller
    conseillère délégué déléguée inspecteur inspectrice trésorier trésorière gérant gérante administrateur
    administratrice sous-préfet gouverneur ambassadeur ambassadrice consul député députée sénateur sénatrice
    bâtonnier bâtonnière médecin docteur docteure professeur professeure maître confrère consœur collègue
    expert experte notaire huissier général générale colonel commandant capitaine lieutenant adjudant major
    garde défenseur défenseure contrôleur contrôleuse payeur percepteur receveur comptable principal proviseur
    proviseure régisseur syndic liquidateur mandataire curateur tuteur tutrice conservateur conservatrice
    chancelier chancelière ingénieur ingénieure interne externe chirurgien chirurgienne pharmacien
    pharmacienne infirmier infirmière dentiste patient patiente employeur salarié salariée madame monsieur
    mademoiselle mesdames messieurs mme mlle dr pr me untel unetelle machin truc tout toute le la les l un une
    d ne vous nous je tu il elle propriétaire locataire bailleur voisin voisine client cliente nageur
    restaurateur artisan oeuvre œuvre d'ouvrage ouvrage
"""
FUNCTIONS = frozenset(_FUNCTIONS.split())
"""After a title they are an office, not a name: "Monsieur le Préfet", "Madame la Présidente"."""

_ENDS = """
    emploi fonction poste entreprise établissement qualification catégorie grade né née tél tel téléphone fax
    mail e-mail email courriel date objet réf ref référence adresse service nir ins ipp rpps adeli prénom
    prénoms nom sexe âge age domicilié domiciliée demeurant employé employée agissant représenté représentée
    assisté assistée janvier février mars avril juin juillet août septembre octobre novembre décembre lundi
    mardi mercredi jeudi vendredi samedi dimanche ddn signature signé cabinet pôle unité hôpital clinique chu
    centre cardiologue gynécologue radiologue pédiatre neurologue psychiatre oncologue dermatologue
    généraliste urologue pneumologue ophtalmologue anesthésiste rhumatologue vu considérant article attendu
    dossier n° code spécialité médecine chirurgie cardiologie iban siret et ou en au aux à par pour dans sur
    avec sans qui que dont est a sa son ses ce cette voici voilà suite bonjour merci cordialement mobile
    portable profession nationalité situation lieu titulaire représentant compte-rendu cr urgences
    consultation hospitalisation
"""
ENDS = frozenset(_ENDS.split())
"""A name ends before them."""

_COMMON = """
    les des une est sont était pour par avec sans sous sur dans chez que qui quoi dont mais donc car pas plus
    très bien tout tous aussi ainsi alors avant après cela ceci celle celui ces cet ses son mes mon vos votre
    nos notre leur leurs elle elles ils nous vous moi toi lui eux ici peut doit fait faire dit dire sera
    serait avait ont ait soit être avoir aura même comme quand comment pourquoi parce mention ville soins
    carré
"""
COMMON = frozenset(_COMMON.split())
"""After "mme" or "dr" in a text that writes names without capitals, they are no name."""
